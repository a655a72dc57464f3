"""The flags of the original training scripts, written down from their parsers and apart from the table.

Each entry is name, type, default: a bare name is text without a default, `!` marks a switch.
"""

ALL = """
pretrained_model_name_or_path config_path transformer_path vae_path revision variant
output_dir=sd-model-finetuned logging_dir=logs dataloader_num_workers:int=0 learning_rate:float=1e-4
scale_lr! lr_scheduler=constant lr_warmup_steps:int=500 use_8bit_adam! use_came! adam_beta1:float=0.9
adam_beta2:float=0.999 adam_weight_decay:float=0.01 adam_epsilon:float=1e-8 max_grad_norm:float=1.0
train_batch_size:int=16 gradient_accumulation_steps:int=1 num_train_epochs:int=100 max_train_steps:int
gradient_checkpointing! low_vram! mixed_precision allow_tf32! use_deepspeed!
enable_xformers_memory_efficient_attention! local_rank:int=-1 checkpointing_steps:int=500
checkpoints_total_limit:int resume_from_checkpoint validation_prompts validation_epochs:int=5
validation_steps:int=2000 report_to=tensorboard report_model_info! tracker_project_name=text2image-fine-tune
seed:int push_to_hub! hub_token hub_model_id
"""
CLIPS = """
non_ema_revision cache_dir train_data_dir train_data_meta max_train_samples:int video_sample_size:int=512
image_sample_size:int=512 token_sample_size:int=512 video_sample_stride:int=4 video_sample_n_frames:int=17
video_repeat:int=0 enable_bucket! random_ratio_crop! random_frame_crop! random_hw_adapt!
training_with_video_token_length! keep_all_node_same_token_length! random_flip! tokenizer_max_length:int=256
train_mode=normal prediction_type train_sampling_steps:int=1000 snr_loss! noise_offset:float=0
input_perturbation:float=0 noise_share_in_frames! noise_share_in_frames_ratio:float=0.5 motion_sub_loss!
motion_sub_loss_ratio:float=0.25 abnormal_norm_clip_start:int=1000 initial_grad_norm_ratio:int=5 use_ema!
vae_mini_batch:int=32 multi_stream!
"""
DENOISE = """
loss_type=sigma uniform_sampling! weighting_scheme=none logit_mean:float=0 logit_std:float=1
mode_scale:float=1.29 enable_text_encoder_in_dataloader!
"""
PARTS = "trainable_modules trainable_modules_low_learning_rate"
LORA = "rank:int=128 network_alpha:int=64 train_text_encoder! save_state!"
LCM = """
w_min:float=5 w_max:float=15 num_ddim_timesteps:int=50 loss_type=l2 huber_c:float=0.001 lora_dropout:float=0
lora_target_modules timestep_scaling_factor:float=10 not_sigma_loss! tokenizer_max_length:int=120
"""
REWARD = """
reward_fn=aesthetic_loss_fn reward_fn_kwargs prompt_path=normal train_sample_height:int=384
train_sample_width:int=672 video_length:int=49 num_inference_steps:int=50 guidance_scale:float=6 eta:float=0
num_decoded_latents:int=3 num_sampled_frames:int backprop! backprop_strategy=last backprop_step_list:int
backprop_num_steps:int=5 backprop_random_start_step:int=0 backprop_random_end_step:int=50
stop_latent_model_input_gradient! vae_gradient_checkpointing! validation_prompt_path
validation_batch_size:int=1 validation_sample_height:int=512 validation_sample_width:int=512
"""
VAE = """
name resume base train no_test project debug seed:int=23 postfix logdir=logs scale_lr=True
"""
OPEN_SORA = "config seed:int ckpt_path batch_size:int wandb load data_path start_from_scratch!"

TEXTS = {
    "train": ALL + CLIPS + DENOISE + PARTS,
    "train_lora": ALL + CLIPS + DENOISE + LORA + " image_repeat_in_forward:int=0",
    "train_control": ALL
    + CLIPS
    + DENOISE
    + PARTS
    + " validation_paths control_ref_image=first_frame train_mode=control",
    "train_reward_lora": ALL + LORA + REWARD,
    "train_lcm_lora": ALL + CLIPS + LORA + LCM,
    "train_vae": VAE,
    "opensora": OPEN_SORA,
}
COUNTS = {"train": 87, "train_lora": 90, "train_control": 89, "train_reward_lora": 71, "train_lcm_lora": 91}


def inventory(script):
    """Flags of a script: Python name to (type, default, whether it is a switch); later entries replace."""
    found = {}
    for entry in TEXTS[script].split():
        switch = entry.endswith("!")
        rest, _, default = entry.rstrip("!").partition("=")
        name, _, kind = rest.partition(":")
        kind = {"int": int, "float": float}.get(kind, str)
        found[name] = (kind, kind(default) if default else None, switch)
    return found
