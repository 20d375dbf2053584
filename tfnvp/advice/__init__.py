"""Every warning that tfnvp gives: one function for each piece of advice.

Callers pass plain NumPy arrays, at most a sample of the data, and names. A warning points to
the line of the user's program that called tfnvp.
"""

from tfnvp.advice.data import (
    warn_of_bools,
    warn_of_columns,
    warn_of_few_levels,
    warn_of_images,
    warn_of_index_columns,
    warn_of_levels,
    warn_of_lost_records,
    warn_of_missing_header,
    warn_of_negative_bits,
    warn_of_rows_outside,
    warn_of_skipped,
    warn_of_text_form,
    warn_of_weights,
)
from tfnvp.advice.flows import (
    unsupported_rows_known,
    warn_of_adapting_a_trained_flow,
    warn_of_condition_range,
    warn_of_condition_scale,
    warn_of_constant_condition,
    warn_of_extreme_rows,
    warn_of_hdf5,
    warn_of_labels,
    warn_of_merged_values,
    warn_of_other_shapes,
    warn_of_renamed,
    warn_of_roll_back,
    warn_of_round_trip,
    warn_of_training_rows,
    warn_of_unsupported_rows,
    warn_of_unusable_likelihood,
)
from tfnvp.advice.warning import warn

__all__ = [
    "unsupported_rows_known",
    "warn",
    "warn_of_adapting_a_trained_flow",
    "warn_of_bools",
    "warn_of_columns",
    "warn_of_condition_range",
    "warn_of_condition_scale",
    "warn_of_constant_condition",
    "warn_of_extreme_rows",
    "warn_of_few_levels",
    "warn_of_hdf5",
    "warn_of_images",
    "warn_of_index_columns",
    "warn_of_labels",
    "warn_of_levels",
    "warn_of_lost_records",
    "warn_of_merged_values",
    "warn_of_missing_header",
    "warn_of_negative_bits",
    "warn_of_other_shapes",
    "warn_of_renamed",
    "warn_of_roll_back",
    "warn_of_round_trip",
    "warn_of_rows_outside",
    "warn_of_skipped",
    "warn_of_text_form",
    "warn_of_training_rows",
    "warn_of_unsupported_rows",
    "warn_of_unusable_likelihood",
    "warn_of_weights",
]
