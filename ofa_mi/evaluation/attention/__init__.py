"""How much of the attention goes to the image, layer by layer."""
