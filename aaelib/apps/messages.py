"""What the command line and a page of widgets say."""

import html


def refusal(error):
    """What to tell a user of an error; None if it is neither the input's nor the machine's."""
    # TensorFlow's error by its name: this module does without TensorFlow.
    if {"MemoryError", "ResourceExhaustedError"} & {each.__name__ for each in type(error).__mro__}:
        return (
            "out of memory: close other programs, or take fewer shapes or points, smaller batches"
        )
    expected = isinstance(error, ValueError | OSError | RuntimeError | FloatingPointError)
    return str(error) if expected else None


def reporting(react, message):
    """Let an HTML widget show what a reaction to another widget returns, or why it failed."""

    def reported(change):
        try:
            message.value = ""
            message.value = react(change) or ""
        except Exception as error:
            if (said := refusal(error)) is None:
                raise
            message.value = f'<p role="alert"><b>{html.escape(said)}</b></p>'

    return reported
