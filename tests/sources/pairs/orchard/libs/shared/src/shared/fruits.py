KINDS = {"pear", "apple"}
