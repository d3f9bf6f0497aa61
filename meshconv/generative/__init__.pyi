from .displacements import MeshDisplacements as MeshDisplacements
from .posterior import FieldPosterior as FieldPosterior
from .task import GenerationTask as GenerationTask
from .vae import FieldVAE as FieldVAE
