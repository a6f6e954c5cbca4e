//! `kshot export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kshot::job::{ExportFormat, ExportOptions, export};

use crate::DONE;
use crate::table::print;

/// Writes a trained network as a file for other programs.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot export runs/mine                                  (runs/mine/model.onnx: any batch, height and width)
  kshot export runs/mine --format safetensors --out weights.safetensors
  kshot export runs/mine --size 480x360 --out phone.onnx  (for pictures of 480 x 360 pixels alone)

The ONNX file takes `pictures` [batch, 3, height, width], normalised, and gives `logits` and `mask`. Its metadata say what
is needed to get the masks of `kshot segment --model`: kshot.classes, kshot.mean and kshot.std (of values 0 to 255),
kshot.longest_side (pictures are shrunk to it first) and kshot.size_multiple (mirrored to sides that it divides). Above
768 pixels a side `segment` goes by overlapping tiles.
Exit status: 0 done, 2 wrong use, 4 no room on the disk.")]
pub struct Arguments {
    /// The folder of a training of supervised segmentation, or its file of weights.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Onnx)]
    format: Format,
    /// The file; by default model.onnx or model.safetensors in the run's folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Width and height of the only pictures it is for, for networks that cannot be written for any.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    size: Option<[usize; 2]>,
    /// One JSON object on standard output, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The network with its weights.
    Onnx,
    /// The weights alone.
    Safetensors,
}

/// Height and width of `480x360`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').map(|(width, height)| [height.parse(), width.parse()]);
    match sides {
        Some([Ok(height), Ok(width)])
            if (1..=16384).contains(&height) && (1..=16384).contains(&width) =>
        {
            Ok([height, width])
        }
        _ => Err("give width and height, 1 to 16384 pixels each, such as 480x360".to_owned()),
    }
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let format = match arguments.format {
        Format::Onnx => ExportFormat::Onnx,
        Format::Safetensors => ExportFormat::Safetensors,
    };
    let options =
        ExportOptions { run: arguments.run, format, out: arguments.out, size: arguments.size };
    let written = export(&options)?;
    if arguments.json {
        print(&(serde_json::to_string(&written)? + "\n"))?;
    } else {
        let megabytes = written.bytes as f64 / 1e6;
        let file = written.file.display();
        print(&format!("{file}: {megabytes:.1} MB; classes: {}\n", written.classes.join(", ")))?;
    }
    Ok(DONE)
}
