/* sift.c - the overlaps that a gate may let through, found by the keys' sketch, AVX2. Contract: ops.h, qig_sift_i8_fn; bounds: sift.h, ref/sift.c.
 *
 * c % 8 == 0, any n >= 1; no alignment. Features: AVX2. For bures the same keys as ref, bound by bound; for fisher_rao the highest score moves by what asin does
 * (score.c). A row of the sketch holds 4 bytes of each of 16 keys: vpmaddubsw with 4 of the query's entries, broadcast, leaves two sums a key, of which one
 * addition of pairs is left to do for every four rows: 8 products of 15 x 127 in 16 bits. Survivors are listed, then read four at a time.
 */
#include "../sift.h"
#include "dots.h"
#include "score8.h"

enum { BLOCK = QIG_SKETCH_BLOCK, HALF = BLOCK / 2, SAFE_ROWS = 4 };

typedef struct {
    const qig_sift_keys *in;
    const qig_score_params *p;
    float gate, inverse, unit; /* unit: qs / 32 */
    int32_t surplus;           /* 241 sum_i q[i] */
} query;

QIG_INLINE __m256i broadcast(const int8_t *q) {
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Ages of keys j .. j + 7, none of them the query's own. */
QIG_INLINE __m256 ages(const query *x, int j) {
    const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (!x->p->positions) return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(x->in->n - 1 - j), iota));
    const __m256i at = _mm256_loadu_si256((const __m256i *)(const void *)(x->p->positions + j));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(x->p->position), at));
}

QIG_INLINE __m256i row_of(const uint32_t *words) { return _mm256_loadu_si256((const __m256i *)(const void *)words); }

/* Both halves' products of a row of the sketch, in 16 bits. */
QIG_INLINE __m256i products(__m256i v, __m256i q, __m256i r) {
    const __m256i nibble = _mm256_set1_epi8(15);
    return _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(v, nibble), q), _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi32(v, 4), nibble), r));
}

QIG_INLINE __m256 finish(const query *x, __m256i dot, __m256i last) {
    const __m256 sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32(dot, 5), _mm256_set1_epi32(x->surplus)));
    const __m256 step = _mm256_castsi256_ps(_mm256_and_si256(last, _mm256_set1_epi32((int32_t)0xffff0000u)));
    const __m256 slack = _mm256_castsi256_ps(_mm256_slli_epi32(last, 16));
    return _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(x->unit), step), sum), slack);
}

/* Upper bounds of a block's overlaps; rows = c / 8. */
QIG_INLINE void bounds(const query *x, const uint32_t *block, int rows, float *v) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int i = 0; i < rows;) {
        __m256i a = _mm256_setzero_si256(), b = a;
        for (const int end = rows - i < SAFE_ROWS ? rows : i + SAFE_ROWS; i < end; i++) {
            const __m256i q = broadcast(x->in->q + 8 * i), r = broadcast(x->in->q + 8 * i + 4);
            a = _mm256_add_epi16(a, products(row_of(block + i * BLOCK), q, r));
            b = _mm256_add_epi16(b, products(row_of(block + i * BLOCK + HALF), q, r));
        }
        low = _mm256_add_epi32(low, _mm256_madd_epi16(a, ones));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(b, ones));
    }
    _mm256_storeu_ps(v, finish(x, low, row_of(block + rows * BLOCK)));
    _mm256_storeu_ps(v + HALF, finish(x, high, row_of(block + rows * BLOCK + HALF)));
}

QIG_INLINE __m256 least_overlaps(const query *x, float budget, __m256 age) {
    __m256 d = _mm256_mul_ps(_mm256_sub_ps(_mm256_set1_ps(budget), _mm256_mul_ps(_mm256_set1_ps(x->p->slope), age)), _mm256_set1_ps(x->inverse));
    d = _mm256_max_ps(_mm256_setzero_ps(), d); /* keeps a NaN, as below: its second operand */
    const __m256 least = _mm256_sub_ps(_mm256_set1_ps(QIG_SIFT_NEAR), _mm256_mul_ps(_mm256_mul_ps(d, d), _mm256_set1_ps(QIG_SIFT_HALF)));
    return _mm256_max_ps(_mm256_set1_ps(x->gate), least);
}

/* Lanes whose value is not below least. */
QIG_INLINE __m256 reaches(const float *v, const float *least) { return _mm256_cmp_ps(_mm256_loadu_ps(v), _mm256_loadu_ps(least), _CMP_NLT_UQ); }

/* top, or a higher score among the lanes of `lanes`; own: lanes that the absolute gate does not touch. */
QIG_INLINE __m256 highest(const query *x, __m256 top, __m256 o, __m256 age, __m256 lanes, __m256 own) {
    __m256 far;
    const __m256 s = score8(o, age, x->p, &far), counted = _mm256_andnot_ps(_mm256_andnot_ps(own, far), lanes);
    return _mm256_max_ps(_mm256_blendv_ps(_mm256_set1_ps(-INFINITY), s, counted), top); /* returns its second operand when one is NaN */
}

QIG_INLINE float top8(__m256 v) {
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}

/* The highest score of the last `tail` keys, which are read (sift.h). */
static __m256 read_tail(const query *x, int tail, float *o, int32_t *rows) {
    float overlap[BLOCK], age[BLOCK];
    qig_sift_read_tail(x->in, x->p, qig_overlap_i8__avx2, tail, o, rows, overlap, age);
    __m256 top = _mm256_set1_ps(-INFINITY);
    for (int h = 0; h < BLOCK; h += HALF) {
        const __m256i lane = _mm256_add_epi32(_mm256_set1_epi32(h), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), own = _mm256_set1_epi32(tail - 1);
        top = highest(x, top, _mm256_loadu_ps(overlap + h), _mm256_loadu_ps(age + h), _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(tail), lane)),
                      _mm256_castsi256_ps(_mm256_cmpeq_epi32(lane, own)));
    }
    return top;
}

/* v[list[t]] = the overlap of key first + list[t], for m keys. */
QIG_INLINE void read_keys(const qig_sift_keys *in, int first, const int32_t *list, int m, float *v) {
    for (int t = 0; t < m; t += 4) {
        const int8_t *k[4];
        float scale[4], o[4];
        for (int i = 0; i < 4; i++) {
            const int j = first + list[t + i < m ? t + i : m - 1];
            k[i] = in->k + (size_t)j * in->k_stride;
            scale[i] = in->ks[j];
        }
        const __m128 sum = _mm_cvtepi32_ps(dots4(in->q, k[0], k[1], k[2], k[3], in->c));
        _mm_storeu_ps(o, _mm_min_ps(_mm_set1_ps(1.0f), _mm_mul_ps(_mm_mul_ps(_mm_set1_ps(in->qs), _mm_loadu_ps(scale)), sum)));
        for (int i = 0; i < 4 && t + i < m; i++) v[list[t + i]] = o[i];
    }
}

int qig_sift_i8__avx2(const qig_sift_keys *in, const qig_score_params *p, float *o, int32_t *rows, qig_sift_reads *reads) {
    query x = {.in = in, .p = p, .gate = qig_sift_overlap(p), .inverse = 1.0f / p->scale, .unit = in->qs / 32.0f};
    for (int i = 0; i < in->c; i++) x.surplus += QIG_SKETCH_MIDDLE * in->q[i];
    const int n = in->n, tail = qig_sift_tail(n), sketch_rows = in->c / 8;
    const size_t block_words = qig_sketch_words(in->c);
    const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 top = read_tail(&x, tail, o, rows);
    int at = n - tail;
    *reads = (qig_sift_reads){.reached = tail, .read = tail};
    for (int end = at, low, whole = 0; end > 0; end = low) {
        const float budget = qig_sift_budget(top8(top), p->margin);
        if (p->slope * (float)qig_sift_age(p, n, end - 1) > budget) break;
        low = end > QIG_SIFT_STEP ? end - QIG_SIFT_STEP : 0;
        const int keys = end - low;
        reads->reached += keys;
        float v[QIG_SIFT_STEP], least[QIG_SIFT_STEP];
        int near[QIG_SIFT_STEP / HALF];
        for (int j = 0; j < keys; j += HALF) {
            _mm256_storeu_ps(least + j, least_overlaps(&x, budget, ages(&x, low + j)));
            near[j / HALF] = 0xff;
        }
        if (whole > 0) {
            whole--;
            qig_overlap_i8__avx2(in->q, in->qs, in->k + (size_t)low * in->k_stride, in->k_stride, in->ks + low, in->c, keys, v);
            reads->read += keys;
        } else {
            int32_t list[QIG_SIFT_STEP];
            int m = 0;
            const uint32_t *block = in->sketch - (size_t)(end / BLOCK - 1) * block_words;
            for (int b = keys / BLOCK - 1; b >= 0; b--, block += block_words) {
                for (size_t i = 0; i < block_words; i += BLOCK) prefetch(block, (QIG_SIFT_STEP / BLOCK * block_words + i) * sizeof *block); /* of the next step */
                bounds(&x, block, sketch_rows, v + b * BLOCK);
            }
            for (int j = 0; j < keys; j += HALF) {
                near[j / HALF] = _mm256_movemask_ps(reaches(v + j, least + j));
                for (int left = near[j / HALF]; left; left &= left - 1) list[m++] = j + __builtin_ctz((unsigned)left);
            }
            reads->sketched += keys;
            reads->read += m;
            read_keys(in, low, list, m, v);
            if (m > QIG_SIFT_MANY) whole = QIG_SIFT_WHOLE;
        }
        for (int j = keys - BLOCK; j >= 0; j -= BLOCK) {
            const int lower = _mm256_movemask_ps(reaches(v + j, least + j)) & near[j / HALF];
            const int passed = lower | (_mm256_movemask_ps(reaches(v + j + HALF, least + j + HALF)) & near[j / HALF + 1]) << HALF;
            if (!passed) continue;
            at -= BLOCK;
            for (int h = 0; h < BLOCK; h += HALF) {
                const __m256 overlap = _mm256_loadu_ps(v + j + h);
                const __m256i bit = _mm256_sllv_epi32(_mm256_set1_epi32(1 << h), iota);
                const __m256i lanes = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(passed), bit), bit);
                _mm256_storeu_ps(o + at + h, overlap);
                _mm256_storeu_si256((__m256i *)(void *)(rows + at + h), _mm256_add_epi32(_mm256_set1_epi32(low + j + h), iota));
                top = highest(&x, top, overlap, ages(&x, low + j + h), _mm256_castsi256_ps(lanes), _mm256_setzero_ps());
            }
        }
    }
    return n - at;
}
