"""What a page of widgets says."""

import html


def reporting(react, message):
    """Let an HTML widget show what a reaction to another widget returns, or why it failed."""

    def reported(change):
        try:
            message.value = ""
            message.value = react(change) or ""
        except (ValueError, OSError, RuntimeError) as error:
            message.value = f'<p role="alert"><b>{html.escape(str(error))}</b></p>'

    return reported
