torchrun --nnodes=8 --nproc_per_node=8 scripts/train.py configs/opensora-v1-1/train/stage1.py \
    --data-path data/pretrain.csv --ckpt-path models/PixArt-alpha-1024
