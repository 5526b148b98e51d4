"""Where examples come from.

load              a source by name: a prepared tfds set, or the path of the user's own data
tfds              prepared tfds sets, read without TensorFlow
tfds_features     which features such a set may name
own_data          the user's folders, tables and arrays at a path
arrays            arrays in memory, and in `.npz` and `.npy` files
file_lists        folders and tables of image files, as lists
folders           which files of a folder are images of it
images            image files to arrays
pixel_modes       what a file's pixels mean
classes           labels as people write them, and the classes that they mean
labels_in_arrays  labels in arrays, checked
tables            `.csv`, `.tsv`, `.jsonl` and `.parquet` files as columns
text_tables       the cells of those that are text
numpy_files       arrays in `.npy` and `.npz` files
random_access     one image at a time, for streaming
tfrecords         TFRecord files without TensorFlow
builders          tfds builders of ours
"""
