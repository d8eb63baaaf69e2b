"""The web page: type, hear, compare, look at runs. Gradio shows it; what it does is apart from that, in files without Gradio.

- `models`: which models the page offers, and those that are loaded; `form`: what a person fills in, checked.
- `studio`: making music for several people, one after another, each of whom can stop.
- `blind`: two settings on one prompt, heard without their names, and the votes.
- `page`, `create_tab`, `compare_tab`, `runs_tab`, `about_tab`: the page; `serve`: its server;
  `live`, `markup`: what Gradio is taught about streamed sound and about its HTML; `guard`: what reaches it.
"""
