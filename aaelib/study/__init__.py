"""The paper's study: its conditions, the evaluation, tables, figures and their verification."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "conditions": ["Condition"],
        "model_report": ["Evaluation", "evaluate"],
        "workspace": ["Study"],
    },
)
