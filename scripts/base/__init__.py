# SPDX-License-Identifier: Apache-2.0
"""What every room stands on: settings, errors, files, processes and weights.

Nothing here knows of tumours or of the method.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "atomic_files": ["make_folder"],
        "distributed": [
            "SameWeightsHandler",
            "cases_of_process",
            "join_processes",
            "leave_processes",
            "process_device",
        ],
        "folder_lock": ["lock_folders", "unlock_folders"],
        "opening": ["prepare"],
        "results": ["check_results", "refuse_replacing"],
        "settings_check": ["check_batches"],
        "weights": ["load_copies", "load_weights"],
    },
)
