"""What backends share whose devices run kernels in a C-like language: arrays, the functions of ``xp``, generated kernels."""
