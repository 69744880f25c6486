# SPDX-License-Identifier: Apache-2.0
"""What the report and the review page share: templates and how they are rendered, style, viewer code and NiiVue."""
