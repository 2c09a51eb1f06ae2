"""Data sets as pandas DataFrames."""


def as_frames(caller, data, target, feature_names, target_names):
    """``data`` and ``target`` as DataFrames, and a third with both side by side.

    ``caller`` is named in the error that says that pandas is missing.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"{caller}(as_frame=True) needs pandas: pip install pandas."
        ) from error
    data = pd.DataFrame(data, columns=feature_names)
    target = pd.DataFrame(target, columns=target_names)
    return data, target, pd.concat([data, target], axis=1)
