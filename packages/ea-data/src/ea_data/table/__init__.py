"""Manifests as tables: rows are filtered, sorted, joined, sampled and split by what their columns say.

* `ea_data.table.expression`: conditions and values in a few words, such as `aes >= 5 and num_frames > 48`;
* `ea_data.table.rows`: rows of a manifest as plain values, read and written;
* `ea_data.table.operations`: what is done with them;
* `ea_data.table.summary`: what a table holds.
"""
