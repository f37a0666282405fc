# Sparsity-aware adaptation (section 3.3) of BEVDet at 288x792: from the dense detector, a tenth of its
# learning rate, a random schedule in every iteration. How long the paper adapts on nuScenes could not
# be read; this repeats the dense schedule.
_base_ = '../_base_/bevdet_sparsevit-t_8xb8-20e_nus-3d-288x792.py'

load_from = 'work_dirs/bevdet_swin-t-p4-w7_8xb8-cyclic-20e_nus-3d-288x792/epoch_20.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]
optim_wrapper = dict(optimizer=dict(lr=2e-5))
