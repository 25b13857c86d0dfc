from pathlib import Path

from backend.settings import engine

with engine.begin() as connection:
    connection.exec_driver_sql(Path(__file__).with_name("schema.sql").read_text())
