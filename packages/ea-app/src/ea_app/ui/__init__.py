"""The studio: a page in the browser over `ea_app.jobs`.

`ea_app.ui.studio` has what the page does, as plain functions; gradio is known to `layout`, `page`, `panels`,
`events`, `updates`, `theme` and `server`. No model is ever loaded in this process: jobs run in workers, and
what a model can do is asked of a process of its own.
"""
