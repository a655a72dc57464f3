"""Open-Sora's mask strategies: which frames of which references go where in a video made of several clips.

* `ea_data.mask_strategy.language`: the strings, such as "0;0,1,0,-1";
* `ea_data.mask_strategy.prompts`: strategies and references in a prompt, and prompts for single clips;
* `ea_data.mask_strategy.plan`: what a strategy does to each clip.
"""

__all__: list[str] = []
