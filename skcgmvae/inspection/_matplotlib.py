"""matplotlib, which is there only if something is to be drawn."""


def import_matplotlib(display):
    """pyplot and the colour maps.

    Parameters
    ----------
    display : object
        What needs them, for the message where there is no matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
        from matplotlib import colormaps
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} needs matplotlib to draw: pip install "
            "matplotlib."
        ) from error
    return plt, colormaps
