"""What the command line and a page of widgets say."""

import html


def told(error):
    """Words for an error of the input or the machine; any other error is raised again."""
    # TensorFlow's error by its name: this module does without TensorFlow.
    if {"MemoryError", "ResourceExhaustedError"} & {each.__name__ for each in type(error).__mro__}:
        return (
            "out of memory: close other programs, or take fewer shapes or points, smaller batches"
        )
    if not isinstance(error, ValueError | OSError | RuntimeError | FloatingPointError):
        raise error
    return str(error)


def reporting(react, message):
    """Let an HTML widget show what a reaction to another widget returns, or why it failed."""

    def reported(change):
        try:
            message.value = ""
            message.value = react(change) or ""
        except Exception as error:
            message.value = f'<p role="alert"><b>{html.escape(told(error))}</b></p>'

    return reported
