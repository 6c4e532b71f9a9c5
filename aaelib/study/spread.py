"""Tables of means with their spread, to read."""

import numpy as np
import pandas as pd


def with_spread(frame):
    """
    A table to read: "mean ± sd" in place of each pair of columns `x`, `x_sd`.

    Parameters
    ----------
    frame : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        Of str, with three significant digits of the mean.
    """
    shown = pd.DataFrame(index=frame.index)
    for column in frame.columns[~frame.columns.str.endswith("_sd")]:
        spread = frame.get(f"{column}_sd", pd.Series(np.nan, frame.index))
        shown[column] = [_spread(*pair) for pair in zip(frame[column], spread, strict=True)]
    return shown


def _spread(mean, sd):
    if np.isnan(mean):
        return "-"
    if abs(mean) < 1e-5:  # the rounding of single precision
        return "0"
    varies = sd > 0  # not NaN; and what is set does not vary
    if not varies and float(mean).is_integer():
        return f"{mean:.0f}"
    places = max(0, 2 - int(np.floor(np.log10(abs(mean)))))
    return f"{mean:.{places}f}" + (f" ± {sd:.{places}f}" if varies else "")
