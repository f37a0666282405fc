# The demo's UPerNet with a decode head that skips windows, too: dense for the first half, then adapted to
# random ratios of the blocks and of the head.
_base_ = './sparsevit-mini_upernet_adaptation_demo-224x448.py'

model = dict(type='sparsevit_mm.SparseHeads', of='EncoderDecoder')
