"""`report.html` and TensorBoard's events, both made from a run's folder.

`record` reads the folder, `views` writes everything; `page` fills `page.html` and
`style.css` in, with `charts`, `attendance`, `parties`, `samples` and `repeat` as its
sections.
"""
