// The functions of cuDNN that the backend calls, on the host, as their documentation describes them.
#include <cstddef>
#include "numbers.h"
#include "record.h"

struct Tensor { int type, dims, n[8], stride[8]; };
struct Convolution { int dims, pad[8], stride[8], dilate[8], mode, compute, groups = 1, math = 0; };
struct Performance { int algorithm, status; float time; size_t memory; int determinism, math, reserved[3]; };
enum { BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
static const int ALGORITHM = 1;
static const size_t WORKSPACE = 1024;

static Type type_of(const Tensor *t) { return t->type == 9 ? BFLOAT : (Type)t->type; }  // cudnnDataType_t

static double get(const Tensor *t, const void *p, long i) { return load(p, type_of(t), i); }

// an output, summed in double precision and rounded once
struct Sums {
  const Tensor *t;
  void *p;
  std::vector<double> sums;
  Sums(const Tensor *t, void *p) : t(t), p(p) {
    long count = 1;
    for (int d = 0; d < t->dims; ++d) count *= t->n[d];
    sums.resize(count);
  }
  ~Sums() { for (size_t i = 0; i < sums.size(); ++i) store(p, type_of(t), i, sums[i]); }
};

static int fits(const Tensor *x, const Tensor *w, const Convolution *c, const Tensor *y) {
  if (x->dims != c->dims + 2 || w->dims != x->dims || y->dims != x->dims || c->mode != 1 || x->type != y->type)
    return BAD_PARAM;
  if (x->n[0] != y->n[0] || w->n[0] != y->n[1] || w->n[1] * c->groups != x->n[1] || w->n[0] % c->groups) return BAD_PARAM;
  for (int d = 0; d < c->dims; ++d)
    if (1 + (x->n[d + 2] + 2 * c->pad[d] - ((w->n[d + 2] - 1) * c->dilate[d] + 1)) / c->stride[d] != y->n[d + 2]) return BAD_PARAM;
  return 0;
}

// calls f(place in x, place in w, place in y) for each product
template <class F> static void walk(const Tensor *x, const Tensor *w, const Convolution *c, const Tensor *y, F f) {
  int in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, taps[3] = {1, 1, 1}, pad[3] = {0}, stride[3] = {1, 1, 1}, dilate[3] = {1, 1, 1};
  for (int d = 0, e = 3 - c->dims; d < c->dims; ++d, ++e) {
    in[e] = x->n[d + 2]; out[e] = y->n[d + 2]; taps[e] = w->n[d + 2];
    pad[e] = c->pad[d]; stride[e] = c->stride[d]; dilate[e] = c->dilate[d];
  }
  int filters = y->n[1] / c->groups, channels = w->n[1];
  long ins = (long)in[0] * in[1] * in[2], outs = (long)out[0] * out[1] * out[2], all = (long)taps[0] * taps[1] * taps[2];
  for (int n = 0; n < x->n[0]; ++n) for (int o = 0; o < y->n[1]; ++o) for (int i = 0; i < channels; ++i)
    for (long p = 0; p < outs; ++p) for (long t = 0; t < all; ++t) {
      int at[3] = {int(p / (out[1] * out[2])), int(p / out[2] % out[1]), int(p % out[2])};
      int tap[3] = {int(t / (taps[1] * taps[2])), int(t / taps[2] % taps[1]), int(t % taps[2])};
      long place = 0;
      bool inside = true;
      for (int d = 0; d < 3; ++d) {
        int z = at[d] * stride[d] + tap[d] * dilate[d] - pad[d];
        inside &= z >= 0 && z < in[d];
        place = place * in[d] + z;
      }
      if (inside) f(((long)n * x->n[1] + o / filters * channels + i) * ins + place, ((long)o * channels + i) * all + t,
                    ((long)n * y->n[1] + o) * outs + p);
    }
}

extern "C" {
const char *cudnnGetErrorString(int status) { return status == BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_NOT_SUPPORTED"; }
size_t cudnnGetVersion() { return 91201; }
int cudnnCreate(void **h) { *h = new char; return 0; }
int cudnnDestroy(void *h) { delete (char *)h; return 0; }
int cudnnDestroyTensorDescriptor(Tensor *t) { delete t; return 0; }
int cudnnDestroyFilterDescriptor(Tensor *t) { delete t; return 0; }
int cudnnDestroyConvolutionDescriptor(Convolution *c) { delete c; return 0; }
int cudnnSetStream(void *, void *) { return 0; }
int cudnnCreateTensorDescriptor(Tensor **t) { *t = new Tensor(); return 0; }
int cudnnCreateFilterDescriptor(Tensor **t) { *t = new Tensor(); return 0; }
int cudnnCreateConvolutionDescriptor(Convolution **c) { *c = new Convolution(); return 0; }
int cudnnSetTensorNdDescriptor(Tensor *t, int type, int dims, const int *n, const int *stride) {
  if (dims < 3 || dims > 8) return BAD_PARAM;
  t->type = type; t->dims = dims;
  for (int d = 0, step = 1; d < dims; ++d) { t->n[d] = n[d]; t->stride[d] = stride[d]; }
  for (int d = dims - 1, step = 1; d >= 0; step *= n[d--]) if (stride[d] != step) return NOT_SUPPORTED;
  return 0;
}
int cudnnSetFilterNdDescriptor(Tensor *t, int type, int format, int dims, const int *n) {
  if (dims < 4 || dims > 8 || format) return BAD_PARAM;
  t->type = type; t->dims = dims;
  for (int d = 0; d < dims; ++d) t->n[d] = n[d];
  return 0;
}
int cudnnSetConvolutionNdDescriptor(Convolution *c, int dims, const int *pad, const int *stride, const int *dilate, int mode,
                                    int compute) {
  c->dims = dims; c->mode = mode; c->compute = compute;
  for (int d = 0; d < dims; ++d) { c->pad[d] = pad[d]; c->stride[d] = stride[d]; c->dilate[d] = dilate[d]; }
  return 0;
}
int cudnnSetConvolutionGroupCount(Convolution *c, int groups) { c->groups = groups; return 0; }
int cudnnSetConvolutionMathType(Convolution *c, int math) { c->math = math; return 0; }

static int choose(int asked, int *returned, Performance *found) {
  if (asked < 2) return BAD_PARAM;
  found[0].algorithm = 7; found[0].status = NOT_SUPPORTED;  // the fastest is not to be had
  found[1].algorithm = ALGORITHM; found[1].status = 0; found[1].memory = WORKSPACE;
  *returned = 2;
  return 0;
}
#define CHOICES(name, A, B, D, x, w, c, y) \
  int cudnnGetConvolution##name##Algorithm_v7(void *, Tensor *A, Tensor *B, Convolution *c, Tensor *D, int asked, int *returned, \
                                              Performance *found) { int bad = fits(x, w, c, y); return bad ? bad : choose(asked, returned, found); } \
  int cudnnGetConvolution##name##WorkspaceSize(void *, Tensor *A, Tensor *B, Convolution *c, Tensor *D, int algorithm, size_t *size) { \
    int bad = fits(x, w, c, y); *size = WORKSPACE; return bad ? bad : algorithm == ALGORITHM ? 0 : NOT_SUPPORTED; }
CHOICES(Forward, x, w, y, x, w, c, y)
CHOICES(BackwardData, w, y, x, x, w, c, y)
CHOICES(BackwardFilter, x, y, w, x, w, c, y)

static int ready(const Convolution *c, const void *one, const void *zero, int algorithm, void *room, size_t size) {
  double a = c->compute == 1 ? *(const double *)one : *(const float *)one;
  double b = c->compute == 1 ? *(const double *)zero : *(const float *)zero;
  if (a != 1 || b != 0 || algorithm != ALGORITHM || size < WORKSPACE) return BAD_PARAM;
  memset(room, 0xff, size);  // it has to be there
  return 0;
}
int cudnnConvolutionForward(void *, const void *one, Tensor *xd, const void *x, Tensor *wd, const void *w, Convolution *c, int algorithm,
                            void *room, size_t size, const void *zero, Tensor *yd, void *y) {
  int bad = fits(xd, wd, c, yd) | ready(c, one, zero, algorithm, room, size);
  if (bad) return bad;
  return done([=] {
    Sums all(yd, y);
    walk(xd, wd, c, yd, [&](long i, long j, long k) { all.sums[k] += get(xd, x, i) * get(wd, w, j); });
  });
}
int cudnnConvolutionBackwardData(void *, const void *one, Tensor *wd, const void *w, Tensor *yd, const void *y, Convolution *c,
                                 int algorithm, void *room, size_t size, const void *zero, Tensor *xd, void *x) {
  int bad = fits(xd, wd, c, yd) | ready(c, one, zero, algorithm, room, size);
  if (bad) return bad;
  return done([=] {
    Sums all(xd, x);
    walk(xd, wd, c, yd, [&](long i, long j, long k) { all.sums[i] += get(yd, y, k) * get(wd, w, j); });
  });
}
int cudnnConvolutionBackwardFilter(void *, const void *one, Tensor *xd, const void *x, Tensor *yd, const void *y, Convolution *c,
                                   int algorithm, void *room, size_t size, const void *zero, Tensor *wd, void *w) {
  int bad = fits(xd, wd, c, yd) | ready(c, one, zero, algorithm, room, size);
  if (bad) return bad;
  return done([=] {
    Sums all(wd, w);
    walk(xd, wd, c, yd, [&](long i, long j, long k) { all.sums[j] += get(yd, y, k) * get(xd, x, i); });
  });
}
}
