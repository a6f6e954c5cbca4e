"""Golden values of the fully connected random field, written to crf.safetensors.

    pip install pydensecrf2 safetensors numpy pillow
    python golden/make_crf.py

The authors' C++ code through pydensecrf 1.1: five mean-field steps over a part of a picture in
`pictures/`, three classes, one case with the kernel of position alone and one with both.
"""

from pathlib import Path

import numpy as np
import pydensecrf.densecrf as dcrf
from PIL import Image
from safetensors.numpy import save_file

here = Path(__file__).parent
picture = sorted((here / "pictures").glob("*.png"))[0]
image = np.ascontiguousarray(np.asarray(Image.open(picture).convert("RGB"))[60:100, 50:106])
height, width = image.shape[:2]
rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
brightness = image.mean(2) / 255
logits = np.stack([1.5 * brightness, np.sin(columns / 9) + 0.5, np.cos(rows / 7 + columns / 20)])
noise = np.random.default_rng(3).normal(size=logits.shape)
logits = (logits + 0.7 * noise).astype(np.float32)
probabilities = np.exp(logits) / np.exp(logits).sum(0)
out = {"image": image.astype(np.float32), "probabilities": probabilities.astype(np.float32)}
for name, coloured in [("near", False), ("both", True)]:
    field = dcrf.DenseCRF2D(width, height, 3)
    field.setUnaryEnergy(-np.log(probabilities).reshape(3, -1).astype(np.float32))
    field.addPairwiseGaussian(sxy=3, compat=3)
    if coloured:
        field.addPairwiseBilateral(sxy=20, srgb=13, rgbim=image, compat=4)
    result = np.ascontiguousarray(np.array(field.inference(5)).reshape(3, height, width))
    print(name, result.argmax(0).ravel()[:20], np.abs(result - probabilities).mean())
    out[name] = result
save_file(out, here / "crf.safetensors")
