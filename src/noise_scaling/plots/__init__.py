"""The book's figures and tables: one module a page, functions of a measurements table; `page.show` shows any of them."""
