export MODEL_NAME="models/Diffusion_Transformer/EasyAnimateV3-XL-2-InP-512x512"
DATA="datasets/internal_datasets"

accelerate launch --mixed_precision="bf16" scripts/train.py \
  --pretrained_model_name_or_path=$MODEL_NAME \
  --train_data_dir="$DATA/" \
  --train_data_meta="${DATA}/metadata.json" \
  --config_path "config/easyanimate_video_v3_slicevae_motion_module.yaml" \
  --image_sample_size=512 --video_sample_size=512 --video_sample_stride=1 --video_sample_n_frames=144 \
  --train_batch_size=1 --video_repeat=1 --gradient_accumulation_steps=1 --dataloader_num_workers=8 \
  --num_train_epochs=100 --checkpointing_steps=500 --learning_rate=1e-05 \
  --lr_scheduler="constant_with_warmup" --lr_warmup_steps=100 --seed=42 --output_dir="output_dir" \
  --enable_xformers_memory_efficient_attention --gradient_checkpointing --mixed_precision="bf16" \
  --adam_weight_decay=3e-2 --adam_epsilon=1e-10 --max_grad_norm=3e-2 --vae_mini_batch=1 \
  --random_frame_crop --enable_bucket --train_mode="inpaint" \
  --trainable_modules "transformer_blocks" "proj_out" "long_connect_fc"
