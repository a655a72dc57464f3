"""Every word of the page, in English and Chinese."""

from typing import Final, Literal

Language = Literal["en", "zh"]

LANGUAGES: Final[tuple[tuple[str, Language], ...]] = (("English", "en"), ("中文", "zh"))

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("EA Studio", "EA 工作室"),
    "create": ("Create", "创作"),
    "batch": ("Batch", "批量"),
    "compare": ("Compare", "对比"),
    "language": ("Language", "语言"),
    "theme": ("Light / dark", "浅色 / 深色"),
    "model": ("Model", "模型"),
    "prompt": ("Prompt", "提示词"),
    "prompt.hint": (
        "a red circle moves to the right on a blue background",
        "描述画面，例如：红色的圆在蓝色背景上向右移动",
    ),
    "negative": ("Negative prompt", "反向提示词"),
    "negative.hint": ("what to avoid", "不希望出现的内容"),
    "generate": ("Generate", "生成"),
    "cancel": ("Cancel", "取消"),
    "resume": ("Continue", "继续"),
    "reuse": ("Use these settings", "使用这些设置"),
    "delete": ("Delete", "删除"),
    "pictures": ("Pictures", "图片"),
    "image": ("First frame", "首帧"),
    "last_image": ("Last frame", "尾帧"),
    "reference": ("Reference picture", "参考图"),
    "clip_image": ("Picture for CLIP", "CLIP 图片"),
    "video_panel": ("Video and mask", "视频与蒙版"),
    "video": ("Video to change", "待修改的视频"),
    "strength": ("Strength", "重绘强度"),
    "strength.hint": ("how much of the video is changed", "改变原视频的程度"),
    "mask": ("Mask file", "蒙版文件"),
    "mask_drawn": ("Paint the mask", "绘制蒙版"),
    "mask_drawn.hint": (
        "Add a video: paint on its first frame what is made anew",
        "先添加视频，再在首帧上涂抹需要重新生成的部分",
    ),
    "control_panel": ("Control video", "控制视频"),
    "control": ("Control video or picture", "控制视频或图片"),
    "control_kind": ("Signal", "控制信号"),
    "control_kind.hint": ("made of the video, or the video as it is", "由视频提取，或直接使用该视频"),
    "control_as_is": ("as it is", "直接使用"),
    "camera_panel": ("Camera", "镜头"),
    "camera": ("Camera path", "镜头路径"),
    "camera.hint": ("pan left + zoom in, then clockwise", "pan left + zoom in, then clockwise"),
    "trajectory_panel": ("Trajectory", "轨迹"),
    "trajectory": ("Draw where things move", "绘制物体的移动路径"),
    "trajectory.hint": (
        "Draw from where it starts to where it ends; several strokes are several paths. "
        "A first frame or a reference picture appears here",
        "从起点画到终点；多笔即多条路径。首帧或参考图会显示在这里",
    ),
    "shape": ("Size and length", "尺寸与长度"),
    "width": ("Width", "宽度"),
    "height": ("Height", "高度"),
    "size": ("Size", "尺寸"),
    "size_mode": ("As reference", "与参考一致"),
    "size_mode.hint": ("shape of the given picture or video", "采用所给图片或视频的形状"),
    "frames": ("Frames", "帧数"),
    "fps": ("Frame rate", "帧率"),
    "window": ("Window", "窗口"),
    "overlap": ("Overlap", "重叠"),
    "join": ("Join", "衔接"),
    "sampling": ("Sampling", "采样"),
    "sampler": ("Sampler", "采样器"),
    "steps": ("Steps", "步数"),
    "guidance": ("Guidance", "引导系数"),
    "seed": ("Seed", "随机种子"),
    "seed.hint": ("random", "随机"),
    "dice": ("New", "换一个"),
    "lora_panel": ("LoRA", "LoRA"),
    "lora": ("LoRA", "LoRA"),
    "lora_weight": ("Strength", "强度"),
    "lora.none": ("No folder of LoRA files was given (--loras-dir)", "未指定 LoRA 目录 (--loras-dir)"),
    "prompts": ("Prompts, one a line", "提示词，每行一条"),
    "prompts.hint": (
        "Every line becomes a job with the settings of Create",
        "每行生成一个任务，使用“创作”页的设置",
    ),
    "queue_all": ("Queue all", "全部加入队列"),
    "facts": ("{} · {} frames · {} fps", "{} · {} 帧 · {} fps"),
    "compare.none": ("Choose a result", "请选择一个结果"),
    "side_a": ("Left", "左"),
    "side_b": ("Right", "右"),
    "vary": ("Compare by", "对比项"),
    "vary.seed": ("Another seed", "另一个种子"),
    "vary.sampler": ("Another sampler", "另一个采样器"),
    "vary.lora": ("Without LoRA", "不使用 LoRA"),
    "vary_new": ("A new pair", "新的一对"),
    "vary_run": ("Generate both", "生成两者"),
    "history": ("History", "历史"),
    "queue": ("Queue", "队列"),
    "restore": ("Drop a file made here to get its settings back", "拖入由本程序生成的文件以恢复设置"),
    "empty": ("Your video appears here", "视频会显示在这里"),
    "empty.hint": ("Describe it, then press Generate", "输入描述后点击“生成”"),
    "history.empty": ("Nothing yet", "暂无"),
    "download": ("Download", "下载"),
    "ahead": ("waiting, {} before it", "等待中，前面还有 {} 个"),
    "next": ("waiting, next in line", "等待中，即将开始"),
    "left": ("{} left", "剩余 {}"),
    "took": ("{} in all", "共用时 {}"),
    "queued_note": ("In the queue", "已加入队列"),
    "queued_many": ("{} jobs are in the queue", "已加入 {} 个任务"),
    "restored": ("Settings are back", "设置已恢复"),
    "not_restored": ("Not here any more: {}. Add it again", "已不可用：{}，请重新添加"),
    "deleted": ("Deleted", "已删除"),
    "state.queued": ("Waiting", "等待中"),
    "state.loading": ("Loading the model", "正在加载模型"),
    "state.running": ("Running", "运行中"),
    "state.decoding": ("Decoding", "正在解码"),
    "state.saving": ("Saving", "正在保存"),
    "state.done": ("Done", "完成"),
    "state.failed": ("Failed", "失败"),
    "state.cancelled": ("Cancelled", "已取消"),
    "state.interrupted": ("Interrupted", "已中断"),
    "stage.load": ("Loading the model", "正在加载模型"),
    "stage.text": ("Reading the prompt", "正在读取提示词"),
    "stage.conditions": ("Reading the inputs", "正在读取输入"),
    "stage.denoise": ("Denoising", "正在去噪"),
    "stage.decode": ("Decoding", "正在解码"),
    "stage.save": ("Saving", "正在保存"),
    "mode.text_to_image": ("Text to image", "文生图"),
    "mode.text_to_video": ("Text to video", "文生视频"),
    "mode.image_to_video": ("Image to video", "图生视频"),
    "mode.video_to_video": ("Video to video", "视频转视频"),
    "mode.masked_video": ("Masked video", "蒙版重绘"),
    "mode.control": ("Control", "控制生成"),
    "cannot": ("{} cannot use this", "{} 不支持此项"),
    "difference": ("What differs", "不同之处"),
    "same": ("Same settings", "设置相同"),
    "clear": ("Clear", "清除"),
    "undo": ("Undo", "撤销"),
    "add_move": ("Add move", "添加动作"),
    "speed": ("Speed", "速度"),
    "also": ("and …", "同时…"),
    "remove": ("Remove", "移除"),
    "move.static": ("hold still", "静止"),
    "move.pan left": ("pan left", "左移"),
    "move.pan right": ("pan right", "右移"),
    "move.pan up": ("pan up", "上移"),
    "move.pan down": ("pan down", "下移"),
    "move.zoom in": ("zoom in", "推近"),
    "move.zoom out": ("zoom out", "拉远"),
    "move.clockwise": ("clockwise", "顺时针"),
    "move.counter-clockwise": ("counter-clockwise", "逆时针"),
    "sign_in": ("Sign in", "登录"),
}


def word(key: str, language: str) -> str:
    """A text in a language; English for languages that are not there.

    Raises:
        KeyError: There is no such text.
    """
    return _WORDS[key][1 if language == "zh" else 0]


def has(key: str) -> bool:
    """Whether there is such a text."""
    return key in _WORDS


def field_label(field: str, language: str) -> str:
    """What the control of an option is called on the page."""
    key = _CONTROLS.get(field, field).replace("-", "_")
    return word(key, language) if has(key) else field


_CONTROLS: Final = {"control-from": "control", "control_from": "control"}
