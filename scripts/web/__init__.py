# SPDX-License-Identifier: Apache-2.0
"""What the report and the review page share: NiiVue, its licences and the base style."""

from pathlib import Path

WEB = Path(__file__).parent
