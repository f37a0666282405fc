# MMSegmentation's Mask2Former with Swin-T and its recipe on Cityscapes (90k iterations, 8 GPUs x 2
# images): crops of 512x1024, tested on whole images of 1024x2048.
_base_ = 'mmseg::mask2former/mask2former_swin-t_8xb2-90k_cityscapes-512x1024.py'

# What the tools say when data/cityscapes is missing.
data_source = 'Cityscapes (https://www.cityscapes-dataset.com: leftImg8bit and gtFine, with labelTrainIds)'
