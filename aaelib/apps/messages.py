"""What the command line and a page of widgets say."""

import html
import warnings

# How to call a socket, where more than a share of the prior's draws are farther from its mean.
PLAUSIBLE = (
    (0.2, "An ordinary socket"),
    (0.05, "A less usual socket"),
    (0.01, "A rare socket"),
    (-1, "Hardly a socket that the model knows"),
)


def leg(kind, side):
    """What a socket is for, such as "transtibial, left leg"; kind "" if that is not known."""
    kinds = {"TT": "transtibial, ", "TF": "transfemoral, "}
    return f"{kinds.get(kind, '')}{side} leg"


def told(error):
    """Words for an error of the input or the machine; any other error is raised again."""
    # TensorFlow's error by its name: this module does without TensorFlow.
    if {"MemoryError", "ResourceExhaustedError"} & {each.__name__ for each in type(error).__mro__}:
        advice = "close other programs, or take fewer shapes or points, smaller batches"
        return f"out of memory: {advice}"
    if not isinstance(error, ValueError | OSError | RuntimeError | FloatingPointError):
        raise error
    return str(error)


def reporting(react, message):
    """
    Let an HTML widget show what a reaction to another widget returns, or why it failed.

    Warnings (`UserWarning`) follow what it returns.
    """

    def reported(change):
        try:
            message.value = ""
            with warnings.catch_warnings(
                record=True, action="always", category=UserWarning
            ) as more:
                words = react(change) or ""
            message.value = "<br>".join([words, *(html.escape(str(w.message)) for w in more)])
        except Exception as error:
            message.value = f'<p role="alert"><b>{html.escape(told(error))}</b></p>'

    return reported


def certainty(half, widest):
    """How sure a posterior of a scan is of the wall (`Posterior.half_widths`), as a sentence."""
    return (
        f"Nine times of ten the true wall is within ± {half:.1f} mm over half of it, and within "
        f"± {widest:.1f} mm where least is known."
    )
