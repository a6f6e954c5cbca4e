//! A small server on this machine that answers as a test says.
#![allow(dead_code)] // each test uses a part

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked, headers by their names in small letters.
pub struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    /// Where the range starts, and whether it has an end.
    pub fn range(&self) -> (usize, bool) {
        let range = self.headers["range"].strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        (first.parse().unwrap(), !last.is_empty())
    }
}

/// What is answered.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Holds the connection open without the rest of what was announced.
    pub stalls: bool,
    /// Sends the body in pieces, without saying how long it is.
    pub chunked: bool,
}

impl Answer {
    pub fn of(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// The part of a file that was asked for, as a hub gives it out.
    pub fn part(request: &Request, bytes: &[u8], tag: &str) -> Self {
        let (start, ends) = request.range();
        let end = if ends { start + 1 } else { bytes.len() };
        let body = bytes[start..end].to_vec();
        let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
        let answer = Self { body, ..Self::of(206) };
        answer.with("Content-Range", range).with("ETag", tag).with("X-Repo-Commit", "0123abcd")
    }
}

/// A server that answers as `answer` says, until the test ends; what it was asked is kept.
pub struct Server {
    pub address: String,
    pub asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                // One that stalls is not to hold up the next.
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn serve(
    mut stream: TcpStream,
    asked: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Answer,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? < 3 {
            break;
        }
        let (name, value) = line.trim().split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let request = Request { path, headers };
    let Answer { status, mut headers, body, stalls, chunked } = answer(&request);
    asked.lock().unwrap().push(request);
    if chunked {
        headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
    } else if !headers.iter().any(|(name, _)| name == "Content-Length") {
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "HTTP/1.1 {status} Answer\r\n{headers}Connection: close\r\n\r\n").ok()?;
    if chunked {
        for piece in body.chunks(1000) {
            write!(stream, "{:x}\r\n", piece.len()).ok()?;
            stream.write_all(piece).ok()?;
            write!(stream, "\r\n").ok()?;
        }
        // One that stalls does not say that this was all.
        if !stalls {
            write!(stream, "0\r\n\r\n").ok()?;
        }
    } else {
        stream.write_all(&body).ok()?;
    }
    if stalls {
        // Until the other side hangs up.
        let _ = reader.read_line(&mut line);
    }
    Some(())
}
