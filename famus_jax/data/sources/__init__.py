"""Where examples come from.

load            a source by name: a prepared tfds set, or the path of the user's own data
tfds            prepared tfds sets, read without TensorFlow
own_data        the user's folders, tables and arrays at a path
arrays          arrays in memory, and in `.npz` and `.npy` files
file_lists      folders and tables of image files, as lists
images          image files to arrays
random_access   one image at a time, for streaming
tfrecords       TFRecord files without TensorFlow
builders        tfds builders of ours
"""
