// Recurrent layers of cuDNN, on the host: read after cudnn.cpp, in one program with it.
#include <cmath>

struct Dropout { bool set; float p; };
struct Rnn { int algo, mode, bias, both, input, type, work, math, inputs, n, projection, layers; unsigned flags; bool set; };
struct Sequences { int type, layout, steps, batch, size; };
enum { EXECUTION_FAILED = 5000, TANH = 1, LSTM = 2, GRU = 3, STEPS = 65535 };
static const double FORWARD = 1, BACKWARD = 2;  // what has been at the reserve

static long rnn_counts[3];  // calls of the forward function, of that for data, of that for weights
static int rnn_maths[3];

// sizes of a call, and where everything lies
struct Call {
  Rnn r;
  int steps, batch, cells, directions, gates;
  Call(const Rnn *d, const Sequences *x) : r(*d), steps(x ? x->steps : 0), batch(x ? x->batch : 0), directions(d->both + 1),
    gates(d->mode == LSTM ? 4 : d->mode == GRU ? 3 : 1) { cells = r.layers * directions; }
  int inputs(int cell) const { return cell < directions ? r.inputs : directions * r.n; }
  long parameters(int cell) const { return (long)gates * r.n * (inputs(cell) + r.n + 2); }
  // elements before a matrix or a bias: those of a GRU lie cell by cell, from the last to the first, biases before matrices
  long place(int cell, int id, bool bias) const {
    long n = r.n, at = 0;
    if (r.mode == GRU) {
      for (int k = cells - 1; k > cell; --k) at += parameters(k) + 3;
      long k = 2 * gates - 1 - id;
      if (bias) return at + k * n;
      at += 2 * gates * n;
      return at + (id >= gates ? k * n * n : gates * n * n + (k - gates) * n * inputs(cell));
    }
    if (bias) {
      for (int k = 0; k < cells; ++k) at += gates * n * (inputs(k) + n);
      return at + (2 * gates * cell + id) * n;
    }
    for (int k = 0; k < cell; ++k) at += gates * n * (inputs(k) + n);
    return at + (id < gates ? id * n * inputs(cell) : gates * n * inputs(cell) + (id - gates) * n * n);
  }
  size_t width() const { return r.type == 1 ? 8 : r.type == 0 ? 4 : 2; }
  size_t weights() const {
    long all = r.mode == GRU ? 3 * (cells - 1) : 0;
    for (int k = 0; k < cells; ++k) all += parameters(k);
    return all * width();
  }
  // doubles of the reserve: a mark, and of each cell and step the gates, an inner value, the state
  long kept(int cell, int t, int b) const { return 1 + ((((long)cell * steps + t) * batch + b) * (gates + 2)) * r.n; }
  size_t reserve() const { return kept(cells, 0, 0) * 8 + 1; }
  size_t room(int training) const { return 512 + 256 * training; }
};

static double rnn_get(const Call &c, const void *p, long i) { return load(p, c.r.type == 9 ? BFLOAT : (Type)c.r.type, i); }
static void rnn_put(const Call &c, void *p, long i, double x) { store(p, c.r.type == 9 ? BFLOAT : (Type)c.r.type, i, x); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

// the reserve, as doubles of its own: the address has any alignment
struct Kept {
  std::vector<double> v;
  void *p;
  Kept(const Call &c, void *p, bool read) : v(c.kept(c.cells, 0, 0)), p(p) { if (read) memcpy(v.data(), p, v.size() * 8); }
  void write() { if (p) memcpy(p, v.data(), v.size() * 8); }
};

static int agrees(const Rnn *r, const Sequences *x, const Sequences *y, const Tensor *h, const Tensor *cd, const int *lengths) {
  if (!r->set || !x || !y || x->type != r->type || y->type != r->type || x->size != r->inputs || y->size != (r->both + 1) * r->n)
    return BAD_PARAM;
  if (x->steps != y->steps || x->batch != y->batch || !lengths) return BAD_PARAM;
  for (const Tensor *t : {h, cd}) {
    if (t == cd && r->mode != LSTM) { if (t) return BAD_PARAM; continue; }
    if (!t || t->dims != 3 || t->type != r->type || t->n[0] != r->layers * (r->both + 1) || t->n[1] != x->batch || t->n[2] != r->n)
      return BAD_PARAM;
  }
  return 0;
}

static int rooms(const Call &c, int training, size_t weights, const void *w, size_t size, void *room, size_t kept, void *reserve) {
  if (weights < c.weights() || !w || size < c.room(training) || !room) return BAD_PARAM;
  if (training && (kept < c.reserve() || !reserve)) return BAD_PARAM;
  return 0;
}

static bool lengths_are(const Call &c, const int *lengths) {
  for (int b = 0; b < c.batch; ++b) if (lengths[b] != c.steps) return false;
  return true;
}

static void spoil(const Call &c, void *p, long count) { for (long i = 0; i < count; ++i) rnn_put(c, p, i, NAN); }

// the inputs of a cell at a step: of the first layer x, of others the states of the layer below
static double below(const Call &c, const Kept &k, const void *x, int cell, int t, int b, int j) {
  if (cell < c.directions) return rnn_get(c, x, ((long)t * c.batch + b) * c.r.inputs + j);
  int from = (cell / c.directions - 1) * c.directions + j / c.r.n;
  return k.v[c.kept(from, t, b) + (c.gates + 1) * c.r.n + j % c.r.n];
}

// h or c before a step, in the direction of the cell
static double before(const Call &c, const Kept &k, const void *first, int cell, int t, int b, int j, int which) {
  int from = cell % c.directions ? t + 1 : t - 1;
  if (from < 0 || from >= c.steps) return first ? rnn_get(c, first, ((long)cell * c.batch + b) * c.r.n + j) : 0;
  return k.v[c.kept(cell, from, b) + (c.gates + which) * c.r.n + j];
}

extern "C" {
long host_rnn_calls(int which) { return rnn_counts[which]; }
int host_rnn_math(int which) { return rnn_maths[which]; }

int cudnnCreateDropoutDescriptor(Dropout **d) { *d = new Dropout(); return 0; }
int cudnnDestroyDropoutDescriptor(Dropout *d) { delete d; return 0; }
int cudnnSetDropoutDescriptor(Dropout *d, void *handle, float p, void *states, size_t size, unsigned long long) {
  if (!handle || p < 0 || p > 1 || (p && (!states || !size))) return BAD_PARAM;
  d->set = true; d->p = p;
  return 0;
}
int cudnnCreateRNNDescriptor(Rnn **r) { *r = new Rnn(); return 0; }
int cudnnDestroyRNNDescriptor(Rnn *r) { memset(r, 0xff, sizeof *r); delete r; return 0; }
int cudnnSetRNNDescriptor_v8(Rnn *r, int algo, int mode, int bias, int both, int input, int type, int work, int math, int32_t inputs,
                             int32_t n, int32_t projection, int32_t layers, Dropout *dropout, uint32_t flags) {
  if (mode < 0 || mode > GRU || both < 0 || both > 1 || math < 0 || math > 3 || inputs < 1 || n < 1 || layers < 1) return BAD_PARAM;
  if (projection < 1 || projection > n || (dropout && (!dropout->set || dropout->p))) return BAD_PARAM;
  if (algo || bias != 2 || input || projection != n || flags) return NOT_SUPPORTED;
  bool known = (type == 0 && work == 0) || (type == 1 && work == 1) || (type == 2 && (work == 0 || work == 2)) || (type == 9 && work == 0);
  if (!known) return NOT_SUPPORTED;
  *r = Rnn{algo, mode, bias, both, input, type, work, math, inputs, n, projection, layers, flags, true};
  return 0;
}
int cudnnCreateRNNDataDescriptor(Sequences **s) { *s = new Sequences(); return 0; }
int cudnnDestroyRNNDataDescriptor(Sequences *s) { memset(s, 0xff, sizeof *s); delete s; return 0; }
int cudnnSetRNNDataDescriptor(Sequences *s, int type, int layout, int steps, int batch, int size, const int *lengths, void *) {
  if (layout < 0 || layout > 2 || steps < 1 || batch < 1 || size < 1 || !lengths) return BAD_PARAM;
  if (layout != 1 || steps > STEPS) return NOT_SUPPORTED;  // the others want padding, which the network does not have
  for (int b = 0; b < batch; ++b) if (lengths[b] != steps) return NOT_SUPPORTED;
  *s = Sequences{type, layout, steps, batch, size};
  return 0;
}
int cudnnGetRNNWeightSpaceSize(void *handle, Rnn *r, size_t *size) {
  if (!handle || !r->set) return BAD_PARAM;
  *size = Call(r, nullptr).weights();
  return 0;
}
int cudnnGetRNNTempSpaceSizes(void *handle, Rnn *r, int training, Sequences *x, size_t *room, size_t *reserve) {
  if (!handle || !r->set || x->type != r->type || x->size != r->inputs) return BAD_PARAM;
  Call c(r, x);
  *room = c.room(training);
  *reserve = training ? c.reserve() : 0;
  return 0;
}
int cudnnGetRNNWeightParams(void *handle, Rnn *r, int32_t cell, size_t size, const void *space, int32_t id, Tensor *matrix, void **m,
                            Tensor *bias, void **b) {
  Call c(r, nullptr);
  if (!handle || !r->set || cell < 0 || cell >= c.cells || size < c.weights() || id < 0 || id >= 2 * c.gates || !space) return BAD_PARAM;
  int columns = id < c.gates ? c.inputs(cell) : r->n;
  *matrix = Tensor{r->type, 3, {1, r->n, columns}, {r->n * columns, columns, 1}};
  *bias = Tensor{r->type, 3, {1, r->n, 1}, {r->n, 1, 1}};
  *m = (char *)space + c.place(cell, id, false) * c.width();
  *b = (char *)space + c.place(cell, id, true) * c.width();
  return 0;
}

int cudnnRNNForward(void *handle, Rnn *r, int training, const int32_t *lengths, Sequences *xd, const void *x, Sequences *yd, void *y,
                    Tensor *hd, const void *hx, void *hy, Tensor *cd, const void *cx, void *cy, size_t weights, const void *w,
                    size_t size, void *room, size_t kept, void *reserve) {
  int bad = agrees(r, xd, yd, hd, cd, lengths);
  if (bad || !handle || !x || !y || (r->mode != LSTM && (cx || cy))) return BAD_PARAM;
  Call c(r, xd);
  if (rooms(c, training, weights, w, size, room, kept, reserve) || (!training && kept)) return BAD_PARAM;
  rnn_counts[0]++; rnn_maths[0] = r->math;
  return done([=] {
    memset(room, 0xff, size);
    long n = c.r.n;
    if (!lengths_are(c, lengths)) return spoil(c, y, (long)c.steps * c.batch * c.directions * n);
    Kept k(c, training ? reserve : nullptr, false);
    k.v[0] = FORWARD;
    std::vector<double> in(c.gates * n), state(c.gates * n);
    for (int cell = 0; cell < c.cells; ++cell) for (int s = 0; s < c.steps; ++s) for (int b = 0; b < c.batch; ++b) {
      int t = cell % c.directions ? c.steps - 1 - s : s;
      double *here = &k.v[c.kept(cell, t, b)], *inner = here + c.gates * n, *h = inner + n;
      for (int g = 0; g < c.gates; ++g) for (long i = 0; i < n; ++i) {
        double a = rnn_get(c, w, c.place(cell, g, true) + i), e = rnn_get(c, w, c.place(cell, g + c.gates, true) + i);
        for (int j = 0; j < c.inputs(cell); ++j)
          a += rnn_get(c, w, c.place(cell, g, false) + i * c.inputs(cell) + j) * below(c, k, x, cell, t, b, j);
        for (int j = 0; j < n; ++j)
          e += rnn_get(c, w, c.place(cell, g + c.gates, false) + i * n + j) * before(c, k, hx, cell, t, b, j, 1);
        in[g * n + i] = a; state[g * n + i] = e;
      }
      for (long i = 0; i < n; ++i) {
        double *g = here + i, a = in[i] + state[i];
        if (c.r.mode == LSTM) {
          g[0] = sigmoid(a); g[n] = sigmoid(in[n + i] + state[n + i]); g[2 * n] = tanh(in[2 * n + i] + state[2 * n + i]);
          g[3 * n] = sigmoid(in[3 * n + i] + state[3 * n + i]);
          inner[i] = g[n] * before(c, k, cx, cell, t, b, i, 0) + g[0] * g[2 * n];
          h[i] = g[3 * n] * tanh(inner[i]);
        } else if (c.r.mode == GRU) {
          g[0] = sigmoid(a); g[n] = sigmoid(in[n + i] + state[n + i]);
          inner[i] = state[2 * n + i];
          g[2 * n] = tanh(in[2 * n + i] + g[0] * inner[i]);
          h[i] = (1 - g[n]) * g[2 * n] + g[n] * before(c, k, hx, cell, t, b, i, 1);
        } else h[i] = g[0] = c.r.mode == TANH ? tanh(a) : a > 0 ? a : 0;
        if (s == c.steps - 1) {
          if (hy) rnn_put(c, hy, ((long)cell * c.batch + b) * n + i, h[i]);
          if (cy) rnn_put(c, cy, ((long)cell * c.batch + b) * n + i, inner[i]);
        }
        if (cell >= c.cells - c.directions)
          rnn_put(c, y, (((long)t * c.batch + b) * c.directions + cell % c.directions) * n + i, h[i]);
      }
    }
    k.write();
  });
}

int cudnnRNNBackwardData_v8(void *handle, Rnn *r, const int32_t *lengths, Sequences *yd, const void *y, const void *dy, Sequences *xd,
                            void *dx, Tensor *hd, const void *hx, const void *dhy, void *dhx, Tensor *cd, const void *cx,
                            const void *dcy, void *dcx, size_t weights, const void *w, size_t size, void *room, size_t kept,
                            void *reserve) {
  int bad = agrees(r, xd, yd, hd, cd, lengths);
  if (bad || !handle || !y || !dy || !dx || (r->mode != LSTM && (cx || dcy || dcx))) return BAD_PARAM;
  Call c(r, xd);
  if (rooms(c, 1, weights, w, size, room, kept, reserve)) return BAD_PARAM;
  rnn_counts[1]++; rnn_maths[1] = r->math;
  return done([=] {
    memset(room, 0xff, size);
    long n = c.r.n, D = c.directions, wide = D * n;
    Kept k(c, reserve, true);
    if (k.v[0] != FORWARD || !lengths_are(c, lengths)) return spoil(c, dx, (long)c.steps * c.batch * c.r.inputs);
    std::vector<double> above((long)c.steps * c.batch * wide), next;
    for (size_t i = 0; i < above.size(); ++i) above[i] = rnn_get(c, dy, i);
    std::vector<double> in(c.gates * n), state(c.gates * n);
    for (int layer = c.r.layers - 1; layer >= 0; --layer) {
      int columns = c.inputs(layer * D);
      next.assign((long)c.steps * c.batch * columns, 0);
      for (int d = 0; d < D; ++d) for (int b = 0; b < c.batch; ++b) {
        int cell = layer * D + d;
        std::vector<double> dh(n), dc(n);
        for (long i = 0; i < n; ++i) {
          long at = ((long)cell * c.batch + b) * n + i;
          dh[i] = dhy ? rnn_get(c, dhy, at) : 0; dc[i] = dcy ? rnn_get(c, dcy, at) : 0;
        }
        for (int s = c.steps - 1; s >= 0; --s) {
          int t = d ? c.steps - 1 - s : s;
          double *here = &k.v[c.kept(cell, t, b)], *inner = here + c.gates * n, *h = inner + n;
          std::vector<double> earlier(n);
          for (long i = 0; i < n; ++i) {
            double *g = here + i, o = dh[i] + above[((long)t * c.batch + b) * wide + d * n + i];
            if (c.r.mode == LSTM) {
              double th = tanh(inner[i]), m = dc[i] + o * g[3 * n] * (1 - th * th), old = before(c, k, cx, cell, t, b, i, 0);
              dc[i] = m * g[n];
              double a[4] = {m * g[2 * n] * g[0] * (1 - g[0]), m * old * g[n] * (1 - g[n]), m * g[0] * (1 - g[2 * n] * g[2 * n]),
                             o * th * g[3 * n] * (1 - g[3 * n])};
              for (int q = 0; q < 4; ++q) in[q * n + i] = state[q * n + i] = a[q];
            } else if (c.r.mode == GRU) {
              double old = before(c, k, hx, cell, t, b, i, 1), m = o * (1 - g[n]) * (1 - g[2 * n] * g[2 * n]);
              in[i] = state[i] = m * inner[i] * g[0] * (1 - g[0]);
              in[n + i] = state[n + i] = o * (old - g[2 * n]) * g[n] * (1 - g[n]);
              in[2 * n + i] = m; state[2 * n + i] = m * g[0];
              earlier[i] = o * g[n];
            } else in[i] = state[i] = c.r.mode == TANH ? o * (1 - h[i] * h[i]) : h[i] > 0 ? o : 0;
          }
          for (int q = 0; q < c.gates; ++q) for (long i = 0; i < n; ++i) {
            for (int j = 0; j < columns; ++j)
              next[((long)t * c.batch + b) * columns + j] += in[q * n + i] * rnn_get(c, w, c.place(cell, q, false) + i * columns + j);
            for (int j = 0; j < n; ++j)
              earlier[j] += state[q * n + i] * rnn_get(c, w, c.place(cell, q + c.gates, false) + i * n + j);
          }
          dh = earlier;
          // what the gradient of the weights needs takes the place of the gates
          for (int q = 0; q < c.gates; ++q) for (long i = 0; i < n; ++i) here[q * n + i] = in[q * n + i];
          if (c.r.mode == GRU) for (long i = 0; i < n; ++i) inner[i] = state[2 * n + i];
        }
        for (long i = 0; i < n; ++i) {
          long at = ((long)cell * c.batch + b) * n + i;
          if (dhx) rnn_put(c, dhx, at, dh[i]);
          if (dcx) rnn_put(c, dcx, at, dc[i]);
        }
      }
      above = next;
    }
    for (size_t i = 0; i < above.size(); ++i) rnn_put(c, dx, i, above[i]);
    k.v[0] = BACKWARD;
    k.write();
  });
}

int cudnnRNNBackwardWeights_v8(void *handle, Rnn *r, int add, const int32_t *lengths, Sequences *xd, const void *x, Tensor *hd,
                               const void *hx, Sequences *yd, const void *y, size_t weights, void *dw, size_t size, void *room,
                               size_t kept, void *reserve) {
  if (agrees(r, xd, yd, hd, r->mode == LSTM ? hd : nullptr, lengths) || !handle || !x || !y) return BAD_PARAM;
  Call c(r, xd);
  if (rooms(c, 1, weights, dw, size, room, kept, reserve)) return BAD_PARAM;
  if (add) return NOT_SUPPORTED;
  rnn_counts[2]++; rnn_maths[2] = r->math;
  return done([=] {
    memset(room, 0xff, size);
    long n = c.r.n;
    Kept k(c, reserve, true);
    if (k.v[0] != BACKWARD || !lengths_are(c, lengths)) return spoil(c, dw, c.weights() / c.width());
    auto more = [&](long at, double x) { rnn_put(c, dw, at, rnn_get(c, dw, at) + x); };
    for (int cell = 0; cell < c.cells; ++cell) for (int q = 0; q < c.gates; ++q) for (long i = 0; i < n; ++i) {
      int columns = c.inputs(cell);
      std::vector<double> sums(columns + n + 2);
      for (int t = 0; t < c.steps; ++t) for (int b = 0; b < c.batch; ++b) {
        double in = k.v[c.kept(cell, t, b) + q * n + i], state = in;
        if (c.r.mode == GRU && q == 2) state = k.v[c.kept(cell, t, b) + c.gates * n + i];
        for (int j = 0; j < columns; ++j) sums[j] += in * below(c, k, x, cell, t, b, j);
        for (int j = 0; j < n; ++j) sums[columns + j] += state * before(c, k, hx, cell, t, b, j, 1);
        sums[columns + n] += in; sums[columns + n + 1] += state;
      }
      for (int j = 0; j < columns; ++j) more(c.place(cell, q, false) + i * columns + j, sums[j]);
      for (int j = 0; j < n; ++j) more(c.place(cell, q + c.gates, false) + i * n + j, sums[columns + j]);
      more(c.place(cell, q, true) + i, sums[columns + n]);
      more(c.place(cell, q + c.gates, true) + i, sums[columns + n + 1]);
    }
  });
}
}
