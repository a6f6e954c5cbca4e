"""Makes sbd_plain.mat and sbd_packed.mat: a structure GTcls as in the Semantic Boundaries Dataset's files.

    pip install scipy numpy
    python golden/make_sbd.py

The masks of the files hold (3 x + 5 y) mod 21 at column x, row y. Read by crates/kshot-data/src/matlab.rs.
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

y, x = np.mgrid[:5, :7]
segmentation = ((3 * x + 5 * y) % 21).astype(np.uint8)
boundaries = np.empty((20, 1), dtype=object)
for index in range(20):
    boundaries[index, 0] = csc_matrix(segmentation == index + 1)
content = {
    "Boundaries": boundaries,
    "Segmentation": segmentation,
    "CategoriesPresent": np.array([[1.0], [2.0]]),
}
for name, packed in (("sbd_plain", False), ("sbd_packed", True)):
    path = Path(__file__).with_name(f"{name}.mat")
    savemat(path, {"GTcls": content}, do_compression=packed)
    # The date of the day is no part of what is read.
    header = b"MATLAB 5.0 MAT-file, written by make_sbd.py".ljust(116, b" ")
    path.write_bytes(header + path.read_bytes()[116:])
