"""What Cellpose saves from its page: objects beside a picture of 6 x 2 pixels, in today's pickles and in older ones.

    pip install cellpose==4.2.1.1
    python golden/make_cellpose.py
"""

import pathlib
import pickle

import numpy as np
from cellpose import io

HERE = pathlib.Path(__file__).parent
NUMBERS = np.array([[5, 5, 9, 9, 0, 2], [5, 5, 9, 9, 0, 2]], np.uint16)

flows = [np.zeros((2, 6, 3), np.uint8), np.zeros((2, 2, 6), np.float32), np.zeros((2, 6), np.float32)]
io.masks_flows_to_seg(np.full((2, 6), 90, np.uint8), NUMBERS, flows, str(HERE / "cellpose.png"))
saved = HERE / "cellpose_seg.npy"
with saved.open("rb") as file:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    start = file.tell()
    array = pickle.load(file)
array.item()["filename"] = "cellpose.png"
array.item()["masks"] = np.asfortranarray(NUMBERS.astype(np.int32))
head = saved.read_bytes()[:start]
(HERE / "cellpose_old_seg.npy").write_bytes(head + pickle.dumps(array, protocol=3))
