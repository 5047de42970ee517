/* softmax.c - dot products of one query to unnormalised attention weights, and the gate of a feed-forward, AVX2.
 *
 *   softmax  s = scale o[j],   o[j] = exp(s - max s)
 *   swiglu   x[i] = x[i] gate[i] / (1 + exp(-gate[i]))
 *
 * Any n; no alignment. Features: AVX2, FMA. NaN and n = 0 as in ref (ref/softmax.c). exp: approx.h. Sums in 8 float lanes, lane j % 8 for pair j, then the
 * fixed horizontal sum. An element of swiglu is the same float wherever it stands.
 */
#include "exp.h"

void qig_softmax__avx2(float *o, int n, float scale, float *sum, float *sum2) {
    const __m256 lowest = _mm256_set1_ps(-INFINITY), k = _mm256_set1_ps(scale);
    __m256 top8 = lowest;
    for (int j = 0; j < n; j += 8) {
        const __m256 s = _mm256_mul_ps(k, load_part(o + j, n - j));
        top8 = _mm256_max_ps(s, top8); /* returns its second operand when one is NaN */
        store_part(o + j, s, n - j);
    }
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(top8), _mm256_extractf128_ps(top8, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    t = _mm_max_ss(t, _mm_shuffle_ps(t, t, 1));
    const __m256 top = _mm256_set1_ps(_mm_cvtss_f32(t));
    __m256 total = _mm256_setzero_ps(), total2 = total;
    for (int j = 0; j < n; j += 8) {
        const __m256 a = exp8(_mm256_sub_ps(load_part(o + j, n - j), top)); /* lanes past the end: exp(-inf) = 0 */
        total = _mm256_add_ps(total, a);
        total2 = _mm256_fmadd_ps(a, a, total2);
        store_part(o + j, a, n - j);
    }
    *sum = sum8(total);
    *sum2 = sum8(total2);
}

void qig_swiglu__avx2(float *x, const float *gate, int n) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    for (int i = 0; i < n; i += 8) {
        const __m256 v = load_part(x + i, n - i), g = load_part(gate + i, n - i);
        const __m256 e = exp8(_mm256_or_ps(g, sign)); /* of -|g| */
        const __m256 above = _mm256_blendv_ps(one, e, g); /* by the sign of g: e / (1 + e) below 0, 1 / (1 + e) above */
        store_part(x + i, _mm256_mul_ps(_mm256_mul_ps(v, g), _mm256_div_ps(above, _mm256_add_ps(one, e))), n - i);
    }
}
