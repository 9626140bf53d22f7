"""How Sphinx builds the site: `make docs`."""

from pqclock import __version__

project = "pqclock"
author = "the founders of pqclock"
release = version = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = True
myst_heading_anchors = 3
myst_links_external_new_tab = False
html_theme = "furo"
html_title = f"pqclock {version}"
html_show_sphinx = False
html_copy_source = False
# No fonts or scripts from elsewhere: the site works where nothing else can be reached.
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
