from tests.support.qmmm.fixtures import chorismate_mutase

__all__ = ["chorismate_mutase"]
