"""rltrainer: teach a Gymnasium agent by choosing the better of two clips, while it learns."""
