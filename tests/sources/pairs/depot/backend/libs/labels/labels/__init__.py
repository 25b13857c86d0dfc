LABEL = "from a path"
