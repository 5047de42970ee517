/* mix.c - the weighted sum of cached int8 values, AVX-512.
 *
 *   out[c] = sum_j (a[j] vs[r]) v[r * v_stride + c], r = rows[j], or j without rows
 *
 * a: n weights;  rows: n numbers of rows, or NULL;  v: rows, v_stride entries apart (v_stride >= c);  vs: their scales;  out: c floats, all written (0 for n = 0). Any c, n; no alignment.
 * Features: AVX512F, BW, VL. Per channel acc = fma(a vs, value, acc) over j in order, whatever c: the floats of avx2. a[j] == 0 skips its row unread.
 * Widening a value and making it a float keep the vector units busier than multiplying it does, and 512 bits at a time do not change that: what is won
 * here is won around it. Keys go by blocks of which the weights other than zero are listed first, so that gated keys leave no branches to guess, and 128
 * channels at a time (then 64, 32, 16, the last 16 masked) take whole rows of common widths in the order of memory.
 */
#include "../kernels.h"

#include <immintrin.h>

#define QIG_INLINE static inline __attribute__((always_inline))

enum { LANES = 16, BLOCK = 256 /* keys: 2 KB of the stack */ };

/* Keys of a block with weights other than zero. */
typedef struct {
    int n;
    float w[BLOCK]; /* a vs */
    int32_t key[BLOCK];
} key_list;

/* m <= BLOCK weights, of rows `first` and on, or of those that rows names. Whole registers are written: n <= j, so they fit, and what lies past n is overwritten by the next or never read. */
QIG_INLINE void list_keys(key_list *l, const float *a, const int32_t *rows, const float *vs, int first, int m) {
    const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    l->n = 0;
    for (int j = 0; j < m; j += LANES) {
        const __mmask16 all = (__mmask16)(m - j < LANES ? 0xffffu >> (LANES - (m - j)) : 0xffffu);
        const __m512 weight = _mm512_maskz_loadu_ps(all, a + j);
        const __mmask16 listed = _mm512_mask_cmp_ps_mask(all, weight, _mm512_setzero_ps(), _CMP_NEQ_UQ); /* a NaN is listed */
        const __m512i key = rows ? _mm512_maskz_loadu_epi32(all, rows + j) : _mm512_add_epi32(_mm512_set1_epi32(first + j), iota);
        const __m512 scale = rows ? _mm512_mask_i32gather_ps(_mm512_setzero_ps(), listed, key, vs, sizeof *vs) : _mm512_maskz_loadu_ps(listed, vs + first + j);
        const __m512 w = _mm512_mul_ps(weight, scale);
        _mm512_storeu_ps(l->w + l->n, _mm512_maskz_compress_ps(listed, w));
        _mm512_storeu_si512(l->key + l->n, _mm512_maskz_compress_epi32(listed, key));
        l->n += __builtin_popcount((unsigned)listed);
    }
}

QIG_INLINE __m512 as_floats(__m128i v) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)); }

#define EACH(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define BEGIN(r) __m512 acc##r = (r) < width && more ? _mm512_loadu_ps(out + LANES * (r)) : _mm512_setzero_ps();
#define STEP(r) \
    if ((r) < width) acc##r = _mm512_fmadd_ps(w, as_floats(_mm_loadu_si128((const __m128i *)(const void *)(p + LANES * (r)))), acc##r);
#define END(r) \
    if ((r) < width) _mm512_storeu_ps(out + LANES * (r), acc##r);

/* width <= 8 times 16 channels; more: out holds the sums of earlier blocks, floats as they were in the registers. */
QIG_INLINE void whole(const key_list *l, const int8_t *v, size_t v_stride, const int width, int more, float *out) {
    EACH(BEGIN)
    for (int t = 0; t < l->n; t++) {
        const __m512 w = _mm512_set1_ps(l->w[t]);
        const int8_t *p = v + (size_t)l->key[t] * v_stride;
        EACH(STEP)
    }
    EACH(END)
}

/* 16 channels or fewer. */
QIG_INLINE void part(const key_list *l, const int8_t *v, size_t v_stride, __mmask16 keep, int more, float *out) {
    __m512 acc = more ? _mm512_maskz_loadu_ps(keep, out) : _mm512_setzero_ps();
    for (int t = 0; t < l->n; t++)
        acc = _mm512_fmadd_ps(_mm512_set1_ps(l->w[t]), as_floats(_mm_maskz_loadu_epi8(keep, v + (size_t)l->key[t] * v_stride)), acc);
    _mm512_mask_storeu_ps(out, keep, acc);
}

void qig_mix_i8__avx512_vnni(const float *a, const int32_t *rows, const int8_t *v, size_t v_stride, const float *vs, int c, int n, float *out) {
    key_list l;
    int j = 0;
    do { /* once for n = 0, which writes zeros */
        list_keys(&l, a + j, rows ? rows + j : NULL, vs, j, n - j < BLOCK ? n - j : BLOCK);
        int i = 0;
        for (; i + 128 <= c; i += 128) whole(&l, v + i, v_stride, 8, j > 0, out + i);
        if (i + 64 <= c) whole(&l, v + i, v_stride, 4, j > 0, out + i), i += 64;
        if (i + 32 <= c) whole(&l, v + i, v_stride, 2, j > 0, out + i), i += 32;
        for (; i < c; i += LANES)
            part(&l, v + i, v_stride, (__mmask16)(c - i < LANES ? 0xffffu >> (LANES - (c - i)) : 0xffffu), j > 0, out + i);
        j += BLOCK;
    } while (j < n);
}
