# The dense network trained for as many iterations more as the sparse ones are, with the same two
# cycles of the learning rate: what those gain is not longer training.
_base_ = ['./_base_/upernet_micro_camvid.py', './_base_/longer_600it.py']

load_from = 'work_dirs/swin-micro_upernet_2000it_camvid-480x360/iter_2000.pth'
