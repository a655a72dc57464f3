"""Video and image files, manifests and the procedural shape dataset for training video generators."""
