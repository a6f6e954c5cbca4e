"""Small JPEG XL and DICOM files, and what other programs read in them.

    pip install numpy pillow imagecodecs pydicom && python make_rare.py

Writes rare/*.jxl and rare/*.dcm, each with the picture as PNG: JPEG XL as libjxl decodes it, DICOM by
pydicom's window and rescale.
"""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

HERE = Path(__file__).parent / "rare"
RANDOM = np.random.default_rng(7)


def colours(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 9 % 256, y * 11 % 256, (x * y) % 256], -1).astype(np.uint8)


def jpeg_xl():
    for name, picture, options in [
        ("lossless", colours(13, 17), {"lossless": True}),
        ("lossy", colours(24, 31) // 4 + 90, {"distance": 1.0}),
        ("gray16", (np.arange(15 * 9).reshape(9, 15) * 480).astype(np.uint16), {"lossless": True}),
    ]:
        data = imagecodecs.jpegxl_encode(picture, **options)
        (HERE / f"{name}.jxl").write_bytes(data)
        back = imagecodecs.jpegxl_decode(data)
        Image.fromarray(back).save(HERE / f"{name}.jxl.png")


def dicom(name, pixels, syntax=ExplicitVRLittleEndian, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = syntax
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for key, value in tags.items():
        setattr(data, key, value)
    if syntax == JPEGBaseline8Bit:
        data.PixelData = encapsulate([imagecodecs.jpeg8_encode(pixels, level=95)])
        data["PixelData"].is_undefined_length = True
    else:
        data.PixelData = pixels.tobytes()
    if syntax == RLELossless:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(RLELossless, generate_instance_uid=False)
    path = HERE / f"{name}.dcm"
    data.save_as(path, enforce_file_format=True)
    shown = pydicom.dcmread(path)
    pixels = shown.pixel_array
    if pixels.ndim == 2:
        levels = apply_voi_lut(apply_modality_lut(pixels, shown), shown).astype(float)
        if "WindowWidth" in shown:
            # pydicom scales a window to the range of the rescaled values.
            slope, start = float(shown.get("RescaleSlope", 1)), float(shown.get("RescaleIntercept", 0))
            signed = shown.PixelRepresentation == 1
            low = -(2 ** (shown.BitsStored - 1)) if signed else 0
            high = 2 ** (shown.BitsStored - 1) - 1 if signed else 2**shown.BitsStored - 1
            low, high = low * slope + start, high * slope + start
        else:
            low, high = levels.min(), levels.max()
        pixels = np.floor((levels - low) / (high - low) * 255 + 0.5).clip(0, 255).astype(np.uint8)
        if shown.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
    Image.fromarray(pixels).save(HERE / f"{name}.dcm.png")


def main():
    HERE.mkdir(exist_ok=True)
    jpeg_xl()
    scan = RANDOM.integers(-1000, 2000, (11, 14)).astype(np.int16)
    window = {"WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 2, "RescaleIntercept": -100}
    dicom("window", scan, **window)
    dicom("no-window", (scan + 1000).astype(np.uint16))
    dicom("inverted", colours(9, 8)[..., 0].copy(), PhotometricInterpretation="MONOCHROME1")
    dicom("rgb", colours(12, 10))
    dicom("rle", colours(12, 10), RLELossless)
    dicom("jpeg", colours(16, 16)[..., 0] // 8 + 100, JPEGBaseline8Bit)


if __name__ == "__main__":
    main()
