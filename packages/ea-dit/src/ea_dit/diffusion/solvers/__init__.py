"""Solvers: from a schedule and predictions to clean latents. `ea_dit.diffusion.factory` names them."""
