// The functions of cuBLASLt that the backend calls, on the host, as their documentation describes them.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include "numbers.h"
#include "record.h"

enum { INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
static const int FLOATS = 68, TF32 = 77, DOUBLES = 70, ADD_BIAS = 4, COLUMN_ORDER = 0;
static const uint64_t WORKSPACE = 1 << 10, MAGIC = 0x4c74;
static int alive;  // handles and descriptors

// a descriptor: attributes by number, each of a size in bytes
struct Made {
  int64_t value[16];
  size_t size[16];
  int64_t operator[](int number) const { return value[number]; }
};
struct Attribute { int number; size_t size; int64_t value; };
struct Algorithm { uint64_t magic, workspace, alignment[4], signature, unused; };
struct Heuristic { Algorithm algorithm; size_t workspace; int status; float waves; int reserved[4]; };

static int make(void **place, std::initializer_list<Attribute> attributes) {
  auto made = new Made{};
  for (auto &one : attributes) made->value[one.number] = one.value, made->size[one.number] = one.size;
  *place = made;
  ++alive;
  return 0;
}

static int gone(void *made) { delete (Made *)made; --alive; return 0; }

static int set(void *place, int number, const void *from, size_t size) {
  auto made = (Made *)place;
  if (!from || number < 0 || number > 15 || !size || made->size[number] != size) return INVALID_VALUE;
  made->value[number] = 0;
  memcpy(&made->value[number], from, size);  // little-endian
  return 0;
}

static Type type_of(const Made *layout) { return (*layout)[0] == 14 ? BFLOAT : (Type)(*layout)[0]; }  // cudaDataType

// what an algorithm is chosen for: all but the place of the bias
static uint64_t signature(const Made *how, const Made *const *layouts) {
  uint64_t h = 1469598103934665603u;
  for (int number : {0, 1, 3, 4, 7}) h = (h ^ how->value[number]) * 1099511628211u;
  for (int i = 0; i < 4; ++i)
    for (int64_t v : layouts[i]->value) h = (h ^ v) * 1099511628211u;
  return h;
}

struct Product { long m, n, k; bool ta, tb; };

// whether the descriptors agree; layouts are a, b, c, d
static int checked(const Made &how, const Made *const *layouts, Product *p) {
  const Made &a = *layouts[0], &b = *layouts[1], &d = *layouts[3];
  p->ta = how[3], p->tb = how[4];
  p->m = d[2], p->n = d[3], p->k = a[p->ta ? 2 : 3];
  if (a[p->ta ? 3 : 2] != p->m || b[p->tb ? 3 : 2] != p->k || b[p->tb ? 2 : 3] != p->n) return INVALID_VALUE;
  for (int i = 0; i < 4; ++i) {
    const Made &x = *layouts[i];
    if (x[1] != COLUMN_ORDER || x[4] < x[2] || x[2] < 1 || x[3] < 1 || x[5] != d[5] || x[5] < 1 || x[6] < 0) return INVALID_VALUE;
    if (x[0] != d[0]) return NOT_SUPPORTED;
  }
  if (layouts[2] != layouts[3] || (d[5] > 1 && d[6] < p->n * d[4])) return INVALID_VALUE;  // results would overlap
  bool doubles = how[0] == DOUBLES;
  if (how[1] != doubles || doubles != (d[0] == 1) || (how[0] != FLOATS && !doubles && !(how[0] == TF32 && d[0] == 0)))
    return NOT_SUPPORTED;
  if (d[5] > 65535 || (how[7] != 1 && (how[7] != ADD_BIAS || doubles))) return NOT_SUPPORTED;
  return 0;
}

extern "C" {
int host_alive() { return alive; }
const char *cublasLtGetStatusString(int status) { return status == INVALID_VALUE ? "invalid value" : "not supported"; }
int cublasLtCreate(void **handle) { return make(handle, {}); }
int cublasLtDestroy(void *handle) { return gone(handle); }

int cublasLtMatmulDescCreate(void **desc, int compute, int scale) {
  return make(desc, {{0, 4, compute}, {1, 4, scale}, {3, 4, 0}, {4, 4, 0}, {7, 4, 1}, {8, 8, 0}});
}
int cublasLtMatmulDescDestroy(void *desc) { return gone(desc); }
int cublasLtMatmulDescSetAttribute(void *desc, int number, const void *from, size_t size) { return set(desc, number, from, size); }

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t step) {
  return make(layout, {{0, 4, type}, {1, 4, COLUMN_ORDER}, {2, 8, (int64_t)rows}, {3, 8, (int64_t)columns}, {4, 8, step},
                       {5, 4, 1}, {6, 8, 0}});
}
int cublasLtMatrixLayoutDestroy(void *layout) { return gone(layout); }
int cublasLtMatrixLayoutSetAttribute(void *layout, int number, const void *from, size_t size) {
  return set(layout, number, from, size);
}

int cublasLtMatmulPreferenceCreate(void **wish) {
  return make(wish, {{1, 8, 0}, {3, 4, 7}, {5, 4, 256}, {6, 4, 256}, {7, 4, 256}, {8, 4, 256}});
}
int cublasLtMatmulPreferenceDestroy(void *wish) { return gone(wish); }
int cublasLtMatmulPreferenceSetAttribute(void *wish, int number, const void *from, size_t size) {
  return set(wish, number, from, size);
}

// long sums are made in parts, if that is allowed, which takes a workspace
int cublasLtMatmulAlgoGetHeuristic(void *, void *desc, void *a, void *b, void *c, void *d, void *wish, int asked, void *results,
                                   int *found) {
  const Made *layouts[] = {(Made *)a, (Made *)b, (Made *)c, (Made *)d}, &how = *(Made *)desc, &wished = *(Made *)wish;
  Product p;
  *found = 0;
  int status = asked < 1 ? INVALID_VALUE : checked(how, layouts, &p);
  if (status) return status;
  if (how[7] == ADD_BIAS && !how[8]) return INVALID_VALUE;  // its alignment is read from it
  auto best = (Heuristic *)results;
  *best = {};
  best->algorithm = {MAGIC, p.k >= 8 && (wished[3] & 2) && wished[1] >= (int64_t)WORKSPACE ? WORKSPACE : 0, {},
                     signature(&how, layouts)};
  for (int i = 0; i < 4; ++i) best->algorithm.alignment[i] = wished[5 + i];
  best->workspace = best->algorithm.workspace;
  *found = 1;
  return 0;
}

int cublasLtMatmul(void *, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout,
                   const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const void *algorithm,
                   void *workspace, size_t size, void *) {
  const Made *layouts[] = {(Made *)a_layout, (Made *)b_layout, (Made *)c_layout, (Made *)d_layout}, &how = *(Made *)desc;
  const Algorithm &chosen = *(const Algorithm *)algorithm;
  Product p;
  int status = checked(how, layouts, &p);
  if (status) return status;
  if (chosen.magic != MAGIC || chosen.signature != signature(&how, layouts)) return NOT_SUPPORTED;
  if (size < chosen.workspace || (chosen.workspace && !workspace) || (uintptr_t)workspace % 256) return INVALID_VALUE;
  const void *places[] = {a, b, c, d, (void *)how[8]};
  for (int i = 0; i < (how[7] == ADD_BIAS ? 5 : 4); ++i)
    if (!places[i] || (uintptr_t)places[i] % chosen.alignment[i < 4 ? i : 3]) return INVALID_VALUE;  // not as was promised
  bool doubles = how[1] == 1;
  if ((doubles ? *(const double *)alpha : *(const float *)alpha) != 1 || (doubles ? *(const double *)beta : *(const float *)beta))
    return NOT_SUPPORTED;  // not needed here
  const Made x = *layouts[0], y = *layouts[1], z = *layouts[3];
  const void *bias = how[7] == ADD_BIAS ? (void *)how[8] : nullptr;
  size_t used = chosen.workspace;
  return done([=] {
    memset(workspace, 0xff, used);  // as what is written there would be
    for (long i = 0; i < z[5]; ++i)
      for (long row = 0; row < p.m; ++row)
        for (long column = 0; column < p.n; ++column) {
          double sum = bias ? load(bias, type_of(&z), row) : 0;
          for (long h = 0; h < p.k; ++h)
            sum += load(a, type_of(&x), i * x[6] + (p.ta ? row * x[4] + h : h * x[4] + row)) *
                   load(b, type_of(&y), i * y[6] + (p.tb ? h * y[4] + column : column * y[4] + h));
          store(d, type_of(&z), i * z[6] + column * z[4] + row, sum);
        }
  });
}
}
