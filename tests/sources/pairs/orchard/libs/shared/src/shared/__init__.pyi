from . import fruits as fruits
