"""Augmentations: what a config calls them is in `named`, one file for each kind.

named                 by name, as `data.augment` of a config has them
device                what all of them share, and how they are combined
crop_flip             pad and crop, flip, shift
random_resized_crop   a random part, scaled back to the full size
color_jitter, color   brightness, contrast, saturation, hue
randaugment           fourteen operations at random
cutout                a square is blanked out
host                  crops before batching, for streamed images of many sizes
"""
